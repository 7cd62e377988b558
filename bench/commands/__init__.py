"""The command line. Its modules import what needs torch inside the commands, so that help answers at once."""
