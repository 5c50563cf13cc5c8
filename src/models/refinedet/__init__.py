"""RefineDet on VGG-16 or a ResNet."""
