"""How fast the suite is, each part beside what it is measured against, alternately, on the machine of the user."""
