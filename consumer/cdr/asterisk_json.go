package cdr

// asteriskJSON is an Asterisk CDR as one JSON object: of the manager's Cdr event,
// of cdr_beanstalkd, or with the names of the CDR's own variables, as cdr_custom
// and modules for Kafka write it.
func asteriskJSON() spec {
	return spec{
		fields: []string{
			"AccountCode|accountcode", "Source|src", "Destination|dst", "AnswerTime|answer", "EndTime|end",
			"BillableSeconds|Billsec|billsec", "Disposition|disposition", "UniqueID|uniqueid|UniqueId|Uniqueid", "UserField|userfield",
			"LinkedID|linkedid|Linkedid", "Channel|channel", "SystemName|systemname",
		},
		read: readAsterisk,
	}
}
