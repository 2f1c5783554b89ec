"""What the operator says about itself: its own metrics, Event constructors, logging."""
