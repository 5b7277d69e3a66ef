"""Settings of an nbgrader course with these exercises; nbgrader reads them in the course folder."""

c = get_config()  # noqa: F821  nbgrader's own

c.CourseDirectory.course_id = "lung-imaging-replications"
# Seconds for a cell: some train a network, and many machines grade at once.
c.Execute.timeout = 1800
