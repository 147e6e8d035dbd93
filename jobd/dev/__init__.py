"""``jobd dev`` and ``jobd new``: for developers, at their terminal."""
