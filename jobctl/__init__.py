"""jobctl: the command-line tool that controls a running jobd."""
