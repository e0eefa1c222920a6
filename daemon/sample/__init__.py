"""The sample that `lorefeed demo` and `make run` learn from: invented entities, served as a feed and dropped into a folder."""
