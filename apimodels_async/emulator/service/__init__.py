"""What the emulated service knows and decides: tasks, money, prices, files, time."""
