"""What drafting saves: the lab's measurements, the drafters, and whether answers stay the same."""
