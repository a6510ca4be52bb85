"""What people look at: the HTML report of runs, and pictures of backbones."""
