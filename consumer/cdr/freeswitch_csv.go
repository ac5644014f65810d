package cdr

// freeSWITCHCSV is what mod_cdr_csv writes with its default template; with
// another, the mapping names the columns.
func freeSWITCHCSV() spec {
	return spec{
		fields: []string{
			"uuid", "accountcode", "user_name", "switchname",
			"direction", "call_uuid", "originator", "originating_leg_uuid",
			"caller_id_number", "destination_number", "channel_cid_flipped",
			"origination_caller_id_number", "ani", "pre_transfer_caller_id_number",
			"sip_from_user", "sip_req_user",
			"start_stamp", "answer_stamp", "end_stamp",
			"answer_uepoch", "answer_epoch", "end_uepoch", "end_epoch",
			"billusec", "billmsec", "billsec",
		},
		columns: freeSWITCHColumns, expected: "the 15 of mod_cdr_csv's default template, or columns in the mapping",
		read: readFreeSWITCH,
	}
}

func freeSWITCHColumns(n int) []string {
	columns := []string{
		"caller_id_name", "caller_id_number", "destination_number", "context", "start_stamp", "answer_stamp", "end_stamp",
		"duration", "billsec", "hangup_cause", "uuid", "bleg_uuid", "accountcode", "read_codec", "write_codec",
	}
	if n != len(columns) {
		return nil
	}
	return columns
}
