"""What `perf/compare` and `perf/growth` share. Standard library only.

process   runs a command and says what it cost: time, CPU, memory of it and of all that it started
kafka     the broker that everything runs against, and its topics
ours      the commands of this project, with the numbers of their reports
peers     the others, where they are found, and their commands
numbers   medians, ratios, targets
table     the rows, and how they are printed
machine   what the figures were measured on
"""


class Failed(Exception):
    """Why something could not be measured: its text stands in the table instead of figures."""
