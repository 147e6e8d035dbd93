"""A store in the memory of this process, with the commands of Redis that jobd uses."""
