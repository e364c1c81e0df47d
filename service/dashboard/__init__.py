"""The page for people: its data, and the events that keep it up to date."""
