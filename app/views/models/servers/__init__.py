"""Models of other servers on the Models page: what there is, adding, changing and removing one."""
