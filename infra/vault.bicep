// Key Vault: Marketo's secret and what signs in to Dynamics. Values are put in by infra/operate.py, never by a template.

param location string
param tags object
param token string

@description('Where the private endpoint goes. Empty: the vault has a public address.')
param endpointSubnetId string
param zoneId string

@description('The app\'s identity.')
param appPrincipalId string

@description('Who operates from outside: objects with id and type.')
param operators array

var appRoles = [
  { principalId: appPrincipalId, principalType: 'ServicePrincipal', roleDefinitionIdOrName: 'Key Vault Secrets User' }
]
// They set the secrets, and hand them to msisync on their own machine.
var operatorRoles = [
  for operator in operators: {
    principalId: operator.id
    principalType: operator.type
    roleDefinitionIdOrName: 'Key Vault Secrets Officer'
  }
]

var isPublic = empty(endpointSubnetId)
var endpoint = {
  service: 'vault'
  subnetResourceId: endpointSubnetId
  privateDnsZoneGroup: { privateDnsZoneGroupConfigs: [{ privateDnsZoneResourceId: zoneId }] }
}

module vault 'br/public:avm/res/key-vault/vault:0.14.0' = {
  name: 'key-vault'
  params: {
    name: 'kv-msisync-${take(token, 13)}'
    location: location
    tags: tags
    sku: 'standard'
    enableRbacAuthorization: true
    enablePurgeProtection: true
    softDeleteRetentionInDays: 90
    enableVaultForDeployment: false
    enableVaultForDiskEncryption: false
    enableVaultForTemplateDeployment: false
    // As shipped reachable by address, opened by Entra only: App Service reads references from no fixed address.
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    networkAcls: { defaultAction: isPublic ? 'Allow' : 'Deny', bypass: 'AzureServices' }
    privateEndpoints: isPublic ? [] : [endpoint]
    roleAssignments: concat(appRoles, operatorRoles)
    enableTelemetry: false
  }
}

output uri string = vault.outputs.uri
output name string = vault.outputs.name
