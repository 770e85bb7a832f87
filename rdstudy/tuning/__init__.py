"""All of Ray and of Optuna: a pack as a Tune trial, and the run of many."""
