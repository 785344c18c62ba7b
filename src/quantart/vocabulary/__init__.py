"""Words that parameters, commands and code share; imports nothing of the other rooms."""
