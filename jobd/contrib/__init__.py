"""Integrations, a module for each framework; each is imported only where its framework is used."""
