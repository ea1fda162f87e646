"""The settings of a page: address bar, link, session, widgets, breaks, changes."""
