"""`quantart doctor`: what is amiss with this machine and this project, and how to mend it."""
