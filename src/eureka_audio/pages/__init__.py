"""Web pages in one file: a strict content policy, one look in light and dark, text never as markup.

Reports and the page for reviewing share what lies here; each brings its own script.
"""
