"""Ways to forecast, what is learnt from how they turn out, and the quantile that is planned for."""
