"""How much faster than the reference's procedure we are, on this machine, and how near to what the machine can do.

    python benchmarks/run.py NAME [--batch B] [--threads T] [--rounds R] [--json]
    python benchmarks/run.py all --results benchmarks/RESULTS.md

Both ways run in turn, A B A B, after a call of each that does not count. The floor is the larger of two times: the
operations of our way over the machine's measured matrix rate, and the bytes it must move over its measured bandwidth.
The peak of the memory is that of a process that does it our way alone. Nothing else should run beside it.
"""

if __name__ == "__main__":
    # not above: the processes of `prepare` import this file again, and would wait for all that the networks need
    from measured import main

    main(__doc__)
