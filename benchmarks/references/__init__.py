"""What Standart is measured against: programs of their own."""
