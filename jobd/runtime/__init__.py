"""Code shared by all processes of jobd."""
