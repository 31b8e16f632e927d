"""What a cluster looks like to its user: one model, shown as text, as HTML and as a widget."""
