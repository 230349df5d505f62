"""Contact methods in MongoDB: the only place that knows motor, pymongo and bson.

`connect` opens a deployment, and the deployment gives one `Store` (service/store.py) per environment.
"""

from contactsvc.store.deployment import Deployment, connect

__all__ = ["Deployment", "connect"]
