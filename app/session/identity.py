"""Who a browser session is."""

from app.doors.person import known_person, person_id

__all__ = ["known_person", "person_id"]
