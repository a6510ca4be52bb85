"""What people look at: pictures of backbones."""
