"""A comparison to take along: one file of HTML, and the JSON behind it, which the page shows again."""
