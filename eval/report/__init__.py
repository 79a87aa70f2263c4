"""What people read: tables for the terminal and Markdown, and one HTML page that needs nothing beside it."""
