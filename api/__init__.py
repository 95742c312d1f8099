"""HTTP, web pages, command line and worker processes: translation only, no rules."""
