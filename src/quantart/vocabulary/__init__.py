"""Words that parameters, commands and code share; imports no other room."""
