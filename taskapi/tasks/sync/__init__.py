"""The delta feed: changes since a sync token, with tombstones for deleted tasks."""
