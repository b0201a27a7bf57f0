"""From a trained model to a released one: calibration, tuning, export, import."""
