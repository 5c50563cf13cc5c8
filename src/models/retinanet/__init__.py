"""RetinaNet on a SpineNet, or on a ResNet with NAS-FPN."""
