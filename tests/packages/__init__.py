"""What users install: wheel and sdist, image, manifests."""
