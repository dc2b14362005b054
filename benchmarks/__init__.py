"""Speed and memory beside other tools, as ratios within one run."""
