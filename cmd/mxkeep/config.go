package main

// configuredSocket is the control socket that the configuration file names; "" if there is none.
func (a *app) configuredSocket() string { return "" }
