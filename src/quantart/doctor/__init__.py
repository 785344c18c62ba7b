"""`quantart doctor`: problems of this machine and this project, and how to fix them."""
