module github.com/aws/aws-sdk-go

go 1.26

require github.com/aws/aws-sdk-go-v2 v1.47.3

require github.com/aws/smithy-go v1.28.5 // indirect
