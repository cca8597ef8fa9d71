"""How good the alarms are: recorded runs, their truth, and the rules replayed over them."""
