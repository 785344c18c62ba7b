"""Files, disk, memory, devices and progress of the machine this runs on."""
