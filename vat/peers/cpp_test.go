package peers

func dropProgram() {}
