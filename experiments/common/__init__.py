"""What all experiments share, and none owns: commands, settings, workdirs, sweeps, training, drawing."""
