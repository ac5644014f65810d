package cdr

// teamsCSV is the PSTN usage export of the Teams admin centre. It tells the same
// of a call as graph-pstn, in columns; its times are in UTC.
func teamsCSV() spec {
	return spec{
		fields: []string{
			"UsageId", "AAD ObjectId", "Start Time", "End Time", "Duration Seconds", "Call Type", "Caller ID", "Destination Number",
			"User Location", "Tenant Location", "Number Type", "Duration Source", // it has no second and no last of these
		},
		columns: teamsColumns, expected: "the 20 columns of the PSTN usage export, or columns in the mapping",
		prepare: wordlessNulls, read: readPSTN,
	}
}

// teamsColumns names the columns. Microsoft has added some at the end before.
func teamsColumns(n int) []string {
	columns := []string{
		"UsageId", "Call ID", "Conference ID", "User Location", "AAD ObjectId", "UPN", "User Display Name", "Caller ID",
		"Call Type", "Number Type", "Domestic/International", "Destination Dialed", "Destination Number", "Start Time", "End Time",
		"Duration Seconds", "Connection Fee", "Charge", "Currency", "Capability",
	}
	if n < len(columns) {
		return nil
	}
	return append(columns, make([]string, n-len(columns))...)
}
