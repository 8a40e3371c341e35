"""Router mode, joined: rules, queues, judges and the local proxy as one thing.

Above the kernel room and the listeners, which do not know each other, and below service."""
