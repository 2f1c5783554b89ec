"""kopf is the ear: handlers note that something changed and wake the loop. Nothing is decided here."""
