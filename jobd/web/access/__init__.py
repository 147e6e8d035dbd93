"""Who may do what: authentication, authorization, CSRF."""
