"""What two commits paint alike: models, cases, and one side's painting. See tests/twin.py."""
