"""Everything that jobd says to Redis: connections, keys, and one Lua script per transition."""
